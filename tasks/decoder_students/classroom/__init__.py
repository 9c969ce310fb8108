"""What all decoder students of a stage share."""

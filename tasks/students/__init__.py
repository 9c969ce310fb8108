"""Students: a shortlister over the label index and a refiner of its list, supervised per phase."""

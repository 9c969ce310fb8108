"""Choosing settings of decoder students on the development part of train."""

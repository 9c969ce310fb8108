"""Choosing settings of encoder students on the development part of train."""

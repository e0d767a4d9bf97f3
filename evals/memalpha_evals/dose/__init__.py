"""Dose and response: memories are spoilt on purpose, and every measure has to fall."""

"""Shared by all tests: ``pytester`` runs pytest within pytest."""

pytest_plugins = ["pytester"]

"""Implementations of the Protocols in `operators/protocols`: models and services, one folder per kind."""

"""The Protocols through which operators see models and services. `backends` implements them."""

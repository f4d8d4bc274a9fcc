"""A web service that greets, and shows how a service is swapped without one failed request."""

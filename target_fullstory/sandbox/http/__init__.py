"""The sandbox's HTTP side: the ASGI application and what happens to a request around its operation."""

"""Tests of the clients, against small peers on loopback and without a network."""

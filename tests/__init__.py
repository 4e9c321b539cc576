"""Tests of lb, one package a room."""

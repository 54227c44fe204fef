"""Readers of file formats that others write."""

"""Panels that only draw snapshots."""

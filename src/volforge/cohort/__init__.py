"""Cohorts: sample sheets, splits and phantoms."""

"""Cohorts: sample sheets, structures, splits and phantoms."""

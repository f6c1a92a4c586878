"""What users write by hand: tables whose cells know their lines, names, structures."""

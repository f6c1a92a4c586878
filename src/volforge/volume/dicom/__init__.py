"""DICOM: series to volumes, structure sets and segmentations to labels, labels to segmentations."""

"""Models applied to scans: windows, joints, the way back onto the scan's grid."""

"""Ids in the label maps of negative volumes."""

# what was taken for bone
BONES = "bones.nii.gz"
BONE_IDS = {"left": {"condyle": 1, "barrier": 2}, "right": {"condyle": 3, "barrier": 4}}
# ids in the label maps of negative volumes: the part that bone bounds, and the rest
IDS = {"left": {"joint_space": 2, "rest": 1}, "right": {"joint_space": 4, "rest": 3}}

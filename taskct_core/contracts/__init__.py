"""What lies on disk between the stages: folders and their file names, whole-file writes, rows and batches.

Stands below ``study`` and ``analysis``; imports neither PyTorch nor Ray.
"""

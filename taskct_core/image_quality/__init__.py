"""Task-based image quality: what can be detected, and the noise, sharpness and bias of the images, as AAPM TG-233 asks."""

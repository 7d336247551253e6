"""Using a trained reconstructor outside its study: on a scan of one's own, from files that need nothing else.

network = taskct_core.load_reconstructor("runs/quickstart/study")
scan = taskct_core.open_scan("low_dose.nii.gz")
hu = network.denoise(scan.hu, scan.spacing_mm)
"""

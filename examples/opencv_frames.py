# python examples/opencv_frames.py VIDEO: a file, or the number of a camera.
import sys

import cv2

import patchgate

camera = cv2.VideoCapture(int(sys.argv[1]) if sys.argv[1].isdigit() else sys.argv[1])
tokenizer = patchgate.Tokenizer(size=224, fps=camera.get(cv2.CAP_PROP_FPS) or 30)
while (read := camera.read())[0]:
    chunk = tokenizer.push(patchgate.FrameBatch.from_bgr(read[1]))
    print(f"{chunk.pts_seconds[0]:.2f} s: {len(chunk.features)} of {chunk.kind.numel()} cells")

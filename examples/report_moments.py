# python examples/report_moments.py VIDEO PAGE: what changed when, as text and as a page (.html).
import sys

import patchgate

video, page = sys.argv[1:]
report = patchgate.inspect(video)
report.save(page)
print(report)
for moment in report.facts["moments"]:
    print(f"  {moment['seconds']:.2f} s {moment['label']}".rstrip())

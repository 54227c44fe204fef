import json
from pathlib import Path

answer = json.loads(Path("history.json").read_text())
for entry in answer["files"]:
    stress = entry["results"]["differential_stress"]
    error, systematic = stress["error"], stress["systematic"]
    print(f"{Path(entry['file']).name}: {stress['value']:.2f} +- {error:.2f} +- {systematic:.2f} {stress['unit']}")

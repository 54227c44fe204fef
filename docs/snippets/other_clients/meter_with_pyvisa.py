import json
from pathlib import Path

import pyvisa

addresses = json.loads(Path("addresses.json").read_text())["addresses"]
meter = pyvisa.ResourceManager("@py").open_resource(
    addresses["thermocouple"], read_termination="\n", write_termination="\n", timeout=5000
)
print(meter.query("*IDN?"))
print(float(meter.query(":READ?")), "V")
meter.close()

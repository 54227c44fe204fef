import json
from pathlib import Path

from pymeasure.instruments.keithley import Keithley2182

addresses = json.loads(Path("addresses.json").read_text())["addresses"]
meter = Keithley2182(
    addresses["thermocouple"], visa_library="@py", read_termination="\n", write_termination="\n", timeout=5000
)
print(meter.voltage, "V")
meter.adapter.close()

import json
from pathlib import Path

import minimalmodbus

addresses = json.loads(Path("addresses.json").read_text())["addresses"]
port = addresses["furnace"].removeprefix("ASRL").removesuffix("::INSTR")
controller = minimalmodbus.Instrument(port, slaveaddress=1)
controller.serial.baudrate = 19200
print(controller.read_register(1, number_of_decimals=1, signed=True), "degC")
controller.serial.close()

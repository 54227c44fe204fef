import json
import os
from pathlib import Path
from urllib.parse import urlsplit

addresses = json.loads(Path("addresses.json").read_text())["addresses"]
server = urlsplit(addresses["press"])
os.environ["EPICS_CA_ADDR_LIST"] = server.netloc  # before the first client of the process
os.environ["EPICS_CA_AUTO_ADDR_LIST"] = "NO"

from caproto.sync.client import read  # noqa: E402

record = server.path.removeprefix("/") + "Press_CurrentPressure"
print(record, read(record, repeater=False).data[0], "tons")

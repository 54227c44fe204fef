"""`megabar guard`: what the guard of a rig says, and the word of a person that a trip has been looked at."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Json

if TYPE_CHECKING:
    from ..lease import Lease

app = typer.Typer(help="The guard of a rig's hazardous instruments: its state, and the end of a trip.")
RigFile = Annotated[str, typer.Argument(metavar="RIG", help="Name of a shipped rig, or a rig file.")]


@app.command()
def status(rig: RigFile, as_json: Json = False) -> int:
    """Say whether it is armed, why it has tripped, and what became of each safe action."""
    lease = _lease(rig)
    state = lease.state()
    lease.close()
    if as_json:
        print(json.dumps(state))
    else:
        _tell(state)
    return 0 if not state["latched"] else 1


@app.command()
def acknowledge(
    rig: RigFile,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Who has looked at the apparatus.")],
    even_unconfirmed: Annotated[
        bool, typer.Option("--even-unconfirmed", help="Although not every safe action could be confirmed.")
    ] = False,
) -> int:
    """End a trip, on the word of the named person who has looked at the apparatus."""
    if not name.strip() or not name.isprintable():
        raise InputError("--name: a trip is acknowledged by a person: a name is needed")
    lease = _lease(rig)
    answer = lease.acknowledge(name, even_unconfirmed=even_unconfirmed)
    lease.close()
    if "refused" in answer:
        raise InputError(f"{rig}: {answer['refused']}; megabar guard status {rig} says more")
    print("acknowledged", file=sys.stderr)
    return 0


def _lease(rig: str) -> "Lease":
    from ..home import guard_folder
    from ..lease import Lease
    from ..rig import load_rig

    return Lease(guard_folder(load_rig(rig)))


def _tell(state: dict[str, Any]) -> None:
    doing = f"armed for {state['run']}" if state["armed"] else "not armed"
    print(f"guard   {doing if state['running'] else 'does not run'}")
    if state["latched"]:
        print(f"tripped {state['latched']}")
    for what, result in state["report"].items():
        print(f"{result:12} {what}")
    for port, seconds in state["held_s"].items():
        print(f"held    {port}, {seconds:.0f} s more")

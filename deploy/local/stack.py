"""`hotswap up`: everything from the lock on the data folder to the last process that ends."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping

from config.settings import SettingsError, load
from deploy.local import external
from deploy.local.console import Console
from deploy.local.datafolder import DataFolder
from deploy.local.errors import StackError
from deploy.local.exit_codes import EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from deploy.local.holders import end_holders
from deploy.local.ledger import Ledger
from deploy.local.options import Options
from deploy.local.orphans import end_orphans
from deploy.local.plan import BROKER_VARIABLES, DATABASE_VARIABLES, Plan, make_plan, phase_of
from deploy.local.ports import free_ports, why_unusable
from deploy.local.secret_files import write_private
from deploy.local.supervisor import Refused, StartError, Stopped, Supervisor

Planner = Callable[[Options, DataFolder, int, Mapping[str, str]], Plan]


class PortError(StackError):
    """The public port is taken."""


def up(options: Options, planner: Planner = make_plan, outer: Mapping[str, str] | None = None) -> int:
    """Run the stack until SIGINT or SIGTERM; the exit code. What keeps it from starting is one line on stderr."""
    console = Console()
    new = not options.data_folder.exists()
    try:
        data = DataFolder(options.data_folder)
        data.path("run", "stack.json").unlink(missing_ok=True)
        console.keep(data.log("supervisor"))
        ledger = Ledger(data.path("run", "processes"))
        end_orphans(ledger, data.id, phase_of, console.say)
        for folder in ("metrics", "tmp"):
            shutil.rmtree(data.path("run", folder), ignore_errors=True)
            data.path("run", folder).mkdir(mode=0o700)
        given = dict(os.environ if outer is None else outer)
        plan = planner(options, data, _public_port(options.port), given)
        _check(plan, given)
        for prepare in plan.prepare:
            prepare()
    except (StackError, SettingsError) as error:
        print(f"hotswap: {error}", file=sys.stderr)
        if new:
            # Nothing was started, and nothing of it is of use to anybody.
            shutil.rmtree(options.data_folder, ignore_errors=True)
        return EXIT_USAGE
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"hotswap: cannot prepare {options.data_folder}: {error.strerror}{where}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_DONE  # nothing had been started
    supervisor = Supervisor(plan.services, ledger, data.path("logs"), console, replace=options.replace)
    return asyncio.run(_run(supervisor, plan, data, console))


async def _run(supervisor: Supervisor, plan: Plan, data: DataFolder, console: Console) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.ask_to_stop)
    code = EXIT_DONE
    try:
        console.say(f"starting in {data.root}")
        # A node that nobody asks for any more has no agent to end what it runs.
        asked = {path.stem for path in data.path("agents").glob("*.toml")}
        await end_holders(folder for folder in data.path("nodes").iterdir() if folder.name not in asked)
        await supervisor.start()
        await supervisor.until_ready(plan.whole)
        # For scripts: there while the stack is ready, with the supervisor's pid, as a killed one leaves it behind.
        running = {"pid": os.getpid(), "urls": dict(plan.urls)}
        write_private(data.path("run", "stack.json"), json.dumps(running).encode())
        console.say("ready")
        _tell(console, plan, data)
        await supervisor.run()
    except Stopped:
        pass
    except Refused as error:
        print(f"hotswap: {error}", file=sys.stderr)
        code = EXIT_USAGE
    except StartError as error:
        console.say(f"{error}. Logs are in {data.path('logs')}")
        code = EXIT_FAILED
    finally:
        data.path("run", "stack.json").unlink(missing_ok=True)
        await supervisor.end()
    console.say("stopped")
    return code


def _public_port(port: int) -> int:
    if port == 0:
        return free_ports(1)[0]
    if why := why_unusable(port):
        raise PortError(why)
    return port


def _check(plan: Plan, given: Mapping[str, str]) -> None:
    settings = load(plan.environment)
    if any(given.get(variable) for variable in DATABASE_VARIABLES):
        external.check_database(settings)
    if any(given.get(variable) for variable in BROKER_VARIABLES):
        external.check_broker(settings)


def _tell(console: Console, plan: Plan, data: DataFolder) -> None:
    users = "\n".join(
        f"    {user:<10} {'(as given)' if user in plan.given else password}"
        for user, password in plan.credentials.items()
    )
    console.show(f"""
  API          {plan.urls["api"]}      (documentation: {plan.urls["docs"]})
  Flower       {plan.urls["flower"]}      admin / {plan.flower_password}
  Signing key  {data.path("keys", "development.key")}
  Logs         {data.path("logs")}
  Users
{users}
  Generated passwords are kept in {data.path("credentials.json")}. Ctrl-C stops everything.
""")

"""Flower's settings: `celery -A workers.flower flower --conf=config/flower.py`.

It can revoke tasks and end workers, so it listens on the loopback interface behind a password. The user is `admin`.
"""

from config.settings import settings_or_exit

_settings = settings_or_exit()
if _settings.flower_password is None:
    raise SystemExit("hotswap: HOTSWAP_FLOWER_PASSWORD is not set: Flower does not start without one")

address = "127.0.0.1"
port = _settings.flower_port
basic_auth = [f"admin:{_settings.flower_password.get_secret_value()}"]
persistent = False
max_tasks = 10_000
natural_time = False

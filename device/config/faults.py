"""Values of the configuration that are well-formed and yet cannot be used, alone or with others."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from device.config.answer import answer_faults
from device.config.paths import FILES, file_problem
from device.config.wording import NOT_SHOWN, bare, did_you_mean, shown
from device.config.words import word_names
from device.hearing.tuning import ALL

if TYPE_CHECKING:
    from device.config.sections import AnswerSettings, CaptureSettings, HooksSettings, MqttSettings, WakeSettings


def faults(
    wake: WakeSettings, capture: CaptureSettings, mqtt: MqttSettings, hooks: HooksSettings, answer: AnswerSettings
) -> list[str]:
    """Return what is wrong with values that the schema lets pass, each with what would be right."""
    return _unusable(mqtt, hooks) + _contradictions(wake, capture, mqtt) + answer_faults(answer)


def _unusable(mqtt: MqttSettings, hooks: HooksSettings) -> list[str]:
    """Find files that are not there, and a host that is more than a host."""
    files = {key: getattr(mqtt, key) for key in FILES if key != "words"}
    problems = [
        f"[mqtt] {key} = {shown(key, path, most=200)}: {problem}; expected {FILES[key]}"
        for key, path in files.items()
        if path and (problem := file_problem(path))
    ]
    problems += [
        f"[hooks] {hook} = {shown(hook, list(command))}: expected a program and its arguments, or [] for none"
        for hook, command in hooks.commands.items()
        if not command[0]
    ]
    return problems + _host_problem(mqtt.host)


def _host_problem(host: str) -> list[str]:
    """Refuse a URL, a port or a login where a name or an address alone is expected; an IPv6 address is one."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if re.fullmatch(r"[^\s:/@\[\]\x00]+", host):
            return []
    else:
        return []
    login_hidden = re.sub("[^/]*@", f"{NOT_SHOWN}@", host)
    where = f"[mqtt] host = {shown('host', login_hidden)}: expected a name or an address alone"
    parts = re.fullmatch(r"(?:(\w+)://)?(?:[^/]*@)?(?:\[(.+)\]|([^\s:/\[\]]+))(?::(\d+))?(?:/.*)?", host.strip())
    if parts is None:
        return [where]
    scheme, six, name, port = parts.groups()
    right = f"host = {six or name!r}" + (f", port = {port}" if port else "")
    return [f"{where}: {right}" + (", tls = true" if scheme in ("mqtts", "ssl", "tls") else "")]


def _contradictions(wake: WakeSettings, capture: CaptureSettings, mqtt: MqttSettings) -> list[str]:
    """Find values that are right alone and wrong together."""
    problems = []
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        problems.append(
            f"[mqtt] cert_file = {mqtt.cert_file!r}, key_file = {mqtt.key_file!r}: a client certificate needs both"
        )
    problems += [
        f"[mqtt] {key} = {getattr(mqtt, key)!r}: only used with tls = true"
        for key in ("ca_file", "cert_file", "key_file")
        if getattr(mqtt, key) and not mqtt.tls
    ]
    if mqtt.password_file and not mqtt.username:
        problems.append(f"[mqtt] password_file = {mqtt.password_file!r}: a username is needed with it")
    names = word_names(wake.words)
    if len(set(names)) < len(names):
        problems.append(f"[wake] words = {list(wake.words)}: a word stands there twice; name each once")
    if wake.allow_remote_changes and ALL in names:
        problems.append(
            f"[wake] words = {list(wake.words)}: with allow_remote_changes = true, {ALL!r} stands for every word; give"
            " that model another name"
        )
    if isinstance(wake.threshold, dict):
        problems += [
            f"[wake] threshold.{bare(word)} = {value}: not among words{did_you_mean(word, names)}"
            for word, value in wake.threshold.items()
            if word not in names
        ]
    if capture.silence_s >= capture.max_s:
        problems.append(f"[capture] silence_s = {capture.silence_s}: must be less than max_s = {capture.max_s}")
    return problems

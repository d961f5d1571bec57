#!/usr/bin/python3
"""Plays NetworkManager and ModemManager on a private bus, by words on standard input.

    manager up METERED | manager down | manager freeze | manager thaw
    metered NUMBER | primary PATH | kind TYPE
    modem up STATE REGISTRATION | modem down | registration NUMBER

Each word is answered by a line `ok`. Ends with standard input.
"""
import os
import signal
import subprocess
import sys

import dbus
import dbusmock

MANAGER = "org.freedesktop.NetworkManager"
MODEMS = "org.freedesktop.ModemManager1"
MANAGER_PATH = "/org/freedesktop/NetworkManager"
MODEMS_PATH = "/org/freedesktop/ModemManager1"
MODEM_PATH = MODEMS_PATH + "/Modem/0"
GPP = MODEMS + ".Modem.Modem3gpp"

running = {}


def start(name, path, *more):
    words = [sys.executable, "-m", "dbusmock", "--system", *more, name, path, name]
    running[name] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    dbusmock.DBusTestCase.wait_for_bus_object(name, path, system_bus=True)


def stop(name):
    process = running.pop(name)
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait()


def mock(name, path):
    return dbus.Interface(bus.get_object(name, path), dbusmock.MOCK_IFACE)


def update(name, path, interface, value):
    mock(name, path).UpdateProperties(interface, dbus.Dictionary(value, signature="sv"))


def manager(word, number="0"):
    if word == "up":
        start(MANAGER, MANAGER_PATH)
        properties = {
            "Metered": dbus.UInt32(number),
            "PrimaryConnection": dbus.ObjectPath(MANAGER_PATH + "/ActiveConnection/1"),
            "PrimaryConnectionType": "gsm",
        }
        properties = dbus.Dictionary(properties, signature="sv")
        mock(MANAGER, MANAGER_PATH).AddProperties(MANAGER, properties)
        # As the service does when it has come up; else only its name was seen.
        update(MANAGER, MANAGER_PATH, MANAGER, {"Metered": dbus.UInt32(number)})
    elif word == "down":
        stop(MANAGER)
    else:
        number = signal.SIGSTOP if word == "freeze" else signal.SIGCONT
        running[MANAGER].send_signal(number)


def modem(word, state="11", registration="1"):
    if word == "down":
        return stop(MODEMS)
    start(MODEMS, MODEMS_PATH, "-m")
    object_manager = mock(MODEMS, MODEMS_PATH)
    properties = dbus.Dictionary({"State": dbus.Int32(state)}, signature="sv")
    object_manager.AddObject(MODEM_PATH, MODEMS + ".Modem", properties, [])
    properties = {"RegistrationState": dbus.UInt32(registration)}
    mock(MODEMS, MODEM_PATH).AddProperties(GPP, dbus.Dictionary(properties, signature="sv"))
    update(MODEMS, MODEM_PATH, GPP, properties)


def change(word, value):
    if word == "metered":
        update(MANAGER, MANAGER_PATH, MANAGER, {"Metered": dbus.UInt32(value)})
    elif word == "primary":
        # The mock's own way of updating knows no paths.
        properties = dbus.Interface(bus.get_object(MANAGER, MANAGER_PATH), dbus.PROPERTIES_IFACE)
        properties.Set(MANAGER, "PrimaryConnection", dbus.ObjectPath(value))
    elif word == "kind":
        update(MANAGER, MANAGER_PATH, MANAGER, {"PrimaryConnectionType": value})
    elif word == "registration":
        update(MODEMS, MODEM_PATH, GPP, {"RegistrationState": dbus.UInt32(value)})
    else:
        raise ValueError(word)


bus = dbus.bus.BusConnection(os.environ["DBUS_SYSTEM_BUS_ADDRESS"])
try:
    for line in sys.stdin:
        word, *values = line.split()
        {"manager": manager, "modem": modem}.get(word, lambda *v: change(word, *v))(*values)
        print("ok", flush=True)
finally:
    for name in list(running):
        stop(name)

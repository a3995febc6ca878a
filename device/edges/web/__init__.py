"""The privacy page over HTTP: a server on sockets that are open already, its routes, and the password's file."""

from device.edges.web.app import Actions, make_app
from device.edges.web.password_file import PasswordFile
from device.edges.web.server import Server, open_socket

__all__ = ["Actions", "PasswordFile", "Server", "make_app", "open_socket"]

"""Home Assistant's Assist, by its websocket API."""

from device.edges.home_assistant.assist import HomeAssistant

__all__ = ["HomeAssistant"]

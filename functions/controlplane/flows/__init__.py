"""One module a flow: what happens on an event, told in ports and rules."""

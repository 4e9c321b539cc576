"""Tells twistd of the two services; what they are made of is in their tap modules."""

from twisted.application.service import ServiceMaker

lb_server = ServiceMaker("lb", "lb.server.tap", "Stores events, computes job states, answers queries.", "lb")
lb_logger = ServiceMaker("lb-logger", "lb.logger.tap", "Takes events from producers and forwards them.", "lb-logger")

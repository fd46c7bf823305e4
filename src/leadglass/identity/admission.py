"""Whether a peer is who it says, and which rules stand for it.

Everything must agree: certificate (or exception), network, calling AE title and
called AE title. The peer gets one answer for all reasons; the record gets the exact
one.
"""

from datetime import datetime
from ipaddress import ip_network

from leadglass.access.networks import Address, plain
from leadglass.access.policy import Rule
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import Refused
from leadglass.identity.device import Device


class NotAdmitted(Refused):
    """A peer is not who it would have to be.

    ``str(error)`` is what anybody may hear; the reason is for the audit record.

    Attributes:
        reason: Exactly why.
        device: The device it is, or would be; ``None`` when nobody is known.
    """

    def __init__(self, reason: str, device: Device | None = None) -> None:
        super().__init__("not admitted")
        self.reason = reason
        self.device = device


def admit(  # noqa: PLR0913, PLR0917 - the facts of an association, all of which must agree
    device: Device,
    address: Address,
    calling: AETitle,
    called: AETitle,
    node_title: AETitle,
    now: datetime,
) -> None:
    """Admit an identified device to an association.

    Raises:
        NotAdmitted: Something does not agree; ``reason`` says what.
    """
    check_address(device, address, now)
    if calling not in device.ae_titles:
        raise NotAdmitted(f"device {device.name} calls itself {calling}", device)
    if called != node_title:
        raise NotAdmitted(
            f"device {device.name} calls {called}, this node is {node_title}", device
        )


def check_address(device: Device, address: Address, now: datetime) -> None:
    """Check what is known before the association: who and where from.

    Raises:
        NotAdmitted: The device is revoked or expired, or is not from its networks.
    """
    if reason := device.refusal(now):
        raise NotAdmitted(reason, device)
    address = plain(address)
    if not any(address in network for network in device.networks):
        raise NotAdmitted(
            f"device {device.name} comes from {address}, in none of its networks",
            device,
        )


def check_receiver(device: Device, shown: Device | None, now: datetime) -> None:
    """Check who answers where a device is sent to, before a byte is sent.

    ``shown`` is whom the receiver's certificate identifies; ``None``: the
    connection is in plaintext.

    Raises:
        NotAdmitted: It is not that device, or nothing may be sent to it.
    """
    if shown is not None:
        if shown.name != device.name:
            raise NotAdmitted(
                f"the receiver at {device.destination} is device {shown.name}, "
                f"not {device.name}",
                device,
            )
        if reason := shown.refusal(now):
            raise NotAdmitted(reason, device)
        return
    exception = device.unsafe_plaintext
    if exception is None or device.revocation is not None:
        raise NotAdmitted(
            device.refusal(now) or f"device {device.name} is sent to in TLS only",
            device,
        )
    if reason := exception.refusal(now):
        raise NotAdmitted(reason, device)


def rules_of(device: Device) -> tuple[Rule, ...]:
    """Return the rules that a device's own entry in the register amounts to."""
    if device.revocation is not None or device.not_after is None:
        return ()
    networks = device.networks
    if device.unsafe_plaintext is not None and not device.has_tls:
        networks = (ip_network(device.unsafe_plaintext.address),)
    rule = Rule(
        name=f"device {device.name}",
        subjects=frozenset({device.subject}),
        rights=device.rights,
        networks=networks,
        # Said once here, not at every decision.
        scope=device.scope.of_device(device.name),
        reason="enrolled device" if device.has_tls else "plaintext exception",
        not_after=device.not_after,
    )
    return (rule,)

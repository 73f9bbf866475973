"""How a request is declared: its fields, its reply, its errors and whether it may be repeated.

A request is an attrs class in the callee's `api.py`, named by its verb:

    @request("vm", errors=(ENOMEM, EINVAL))
    class Unmap(Request[UnmapReply]):
        '''munmap(2): drop `length_bytes` of mappings from `vaddr`.'''

        space: int
        vaddr: int
        length_bytes: int

The type argument of `Request` is the reply type: `await port.call(Unmap(...))` has that type for
mypy, and the stream transport encodes and checks the reply by it. Requests are mutable slotted
classes, as frozen ones cost three times as much to make on the fast path: a sender must not keep
or change a request after it has sent it. Comparison and representation are written once here
rather than generated for each of a hundred classes, which halves what declaring them costs a boot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, dataclass_transform, get_args

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R", covariant=True)
T = TypeVar("T")


@attrs.frozen
class Declaration:
    """What a request class says of itself; see the module's docstring."""

    service: str
    name: str
    reply: Any
    errors: frozenset[int]
    idempotent: bool


class Request(Generic[R]):
    """Base of all requests; `R` is the reply's type."""

    __slots__ = ()
    declaration: ClassVar[Declaration]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return fields_of(self) == fields_of(other)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in fields_of(self))
        return f"{type(self).__name__}({shown})"


def fields_of(message: Any) -> list[tuple[str, Any]]:
    """(name, value) of each field, in order of declaration."""
    return [(field.name, getattr(message, field.name)) for field in attrs.fields(type(message))]


class Ping(Request[None]):
    """Any service's: does it still answer? The supervisor asks; nobody else can."""

    __slots__ = ()
    declaration: ClassVar[Declaration] = Declaration("", "Ping", None, frozenset(), True)

    __attrs_attrs__ = ()


REGISTRY: dict[str, type[Request[Any]]] = {}
"""Every declared request by its wire name, `service.Name`."""


@dataclass_transform(field_specifiers=(attrs.field,))
def request(
    service: str, *, errors: tuple[int, ...] = (), idempotent: bool = False
) -> Callable[[type[T]], type[T]]:
    """Make the decorated class a request to `service`.

    `errors` are the errnos that its handler may answer with; `idempotent` says that repeating it
    after a crash of the service changes nothing.
    """

    def declare(cls: type[T]) -> type[T]:
        made = attrs.define(cls, eq=False, repr=False)
        reply = next(
            get_args(base)[0]
            for base in getattr(made, "__orig_bases__", ())
            if getattr(base, "__origin__", None) is Request
        )
        name = f"{service}.{made.__name__}"
        if name in REGISTRY:
            raise TypeError(f"request {name} is declared twice")
        made.declaration = Declaration(  # type: ignore[attr-defined]
            service, made.__name__, reply, frozenset(errors), idempotent
        )
        REGISTRY[name] = made  # type: ignore[assignment]
        return made

    return declare

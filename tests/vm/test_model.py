"""Does any sequence of calls leave what a dictionary of pages says it should?"""

from __future__ import annotations

from errno import EACCES, EFAULT, EINVAL, ENOMEM

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.vm import api
from tests.vm.machine import PAGE, Machine, Segfault

ARENA = (0x20_0000 - 8 * PAGE) >> 12
"""First page of the addresses used: a boundary between lowest tables lies inside."""
PAGES = 24
FILE_PAGES = 12

pages = st.integers(0, PAGES - 1)
lengths = st.one_of(st.integers(1, 6), st.integers(1, PAGES))
prots = st.sampled_from([3, 3, 3, 3, 1, 7, 0, 2, 5, 4, 6])
spaces = st.integers(0, 3)


@attrs.define
class Page:
    """What is mapped at one page of a space."""

    prot: int
    node: int | None
    page: int
    shared: bool
    may_write: bool
    own: int | None = None
    """Its private content, once it has one."""

    def continues(self, first: Page, index: int) -> bool:
        """Whether this page is `index` pages into the region that `first` is in."""
        page = first.page + index if first.node is not None else 0
        return self == attrs.evolve(first, page=page, own=self.own)


class AgainstDictionary(RuleBasedStateMachine):
    """Random calls on a few spaces and two files."""

    @initialize()
    def start(self) -> None:
        self.machine = Machine(8 << 20)
        self.files = [self.machine.file(FILE_PAGES), self.machine.file(FILE_PAGES, holes=True)]
        self.spaces: list[tuple[int, dict[int, Page]]] = [(self.machine.space(), {})]
        self.serial = 0
        self.map_anonymous(0, 0, 10, 3, True)
        self.map_file(0, 10, 7, 3, False, True, 0, 0)
        self.map_file(0, 17, 7, 3, True, True, 4, 1)
        self.write(0, 0, PAGES, 2)

    def pick(self, index: int) -> tuple[int, dict[int, Page]]:
        return self.spaces[index % len(self.spaces)]

    def span(self, start: int, length: int) -> range:
        return range(ARENA + start, ARENA + min(start + length, PAGES))

    @rule(which=spaces, start=pages, length=lengths, prot=prots, populate=st.booleans())
    def map_anonymous(self, which: int, start: int, length: int, prot: int, populate: bool) -> None:
        space, model = self.pick(which)
        span = self.span(start, length)
        flags = api.MAP_PRIVATE | api.MAP_ANONYMOUS | api.MAP_FIXED
        flags |= api.MAP_POPULATE if populate else 0
        self.machine.map(space, len(span), prot, vaddr=span[0] * PAGE, flags=flags)
        for vpn in span:
            model[vpn] = Page(prot, None, 0, False, True)

    @rule(
        which=spaces,
        start=pages,
        length=lengths,
        prot=prots,
        shared=st.booleans(),
        may_write=st.booleans(),
        page=st.integers(0, FILE_PAGES),
        file=st.integers(0, 1),
    )
    def map_file(
        self,
        which: int,
        start: int,
        length: int,
        prot: int,
        shared: bool,
        may_write: bool,
        page: int,
        file: int,
    ) -> None:
        space, model = self.pick(which)
        span = self.span(start, length)
        node = self.files[file].node
        flags = api.MAP_FIXED | (api.MAP_SHARED if shared else api.MAP_PRIVATE)
        may_write = may_write or not shared or bool(prot & api.PROT_WRITE)
        self.machine.map(
            space,
            len(span),
            prot,
            vaddr=span[0] * PAGE,
            flags=flags,
            node=node,
            offset=page * PAGE,
            may_write=may_write,
        )
        for index, vpn in enumerate(span):
            model[vpn] = Page(prot, node, page + index, shared, may_write)

    @rule(which=spaces, start=pages, length=lengths)
    def unmap(self, which: int, start: int, length: int) -> None:
        space, model = self.pick(which)
        span = self.span(start, length)
        self.machine.unmap(space, span[0] * PAGE, len(span))
        for vpn in span:
            model.pop(vpn, None)

    @rule(which=spaces, start=pages, length=lengths, prot=prots)
    def protect(self, which: int, start: int, length: int, prot: int) -> None:
        space, model = self.pick(which)
        span = self.span(start, length)
        expected = 0
        changing = []
        for vpn in span:
            page = model.get(vpn)
            if page is None:
                expected = ENOMEM
                break
            denied = page.shared and prot & api.PROT_WRITE and not page.may_write
            if denied and page.prot != prot:
                expected = EACCES
                break
            changing.append(page)
        request = api.Protect(space, span[0] * PAGE, len(span) * PAGE, prot)
        assert self.machine.errno_of(request) == expected
        for page in changing:
            page.prot = prot

    @rule(which=spaces, start=pages, length=lengths)
    def discard(self, which: int, start: int, length: int) -> None:
        space, model = self.pick(which)
        span = self.span(start, length)
        errno = self.machine.errno_of(api.Discard(space, span[0] * PAGE, len(span) * PAGE))
        assert errno == (0 if all(vpn in model for vpn in span) else ENOMEM)
        for vpn in span:
            if vpn in model:
                model[vpn].own = None

    @rule(which=spaces, start=pages, old=lengths, new=lengths, to=pages, keep=st.booleans())
    def remap_fixed(self, which: int, start: int, old: int, new: int, to: int, keep: bool) -> None:
        space, model = self.pick(which)
        source, target = self.span(start, old), self.span(to, new)
        flags = api.MREMAP_MAYMOVE | api.MREMAP_FIXED
        flags |= api.MREMAP_DONTUNMAP if keep else 0
        request = api.Remap(
            space, source[0] * PAGE, len(source) * PAGE, len(target) * PAGE, flags, target[0] * PAGE
        )
        errno = self.machine.errno_of(request)
        assert errno == self.remap_error(model, source, target, keep)
        if errno:
            return
        moved = [model[vpn] for vpn in source[: len(target)]]
        assert not set(source) & set(target)
        if not keep:
            for vpn in source:
                model.pop(vpn, None)
        else:
            for vpn, page in zip(source, moved, strict=True):
                model[vpn] = attrs.evolve(page, own=None)
        last = moved[-1]
        for extra in range(len(target) - len(moved)):
            number = last.page + extra + 1 if last.node is not None else 0
            moved.append(attrs.evolve(last, own=None, page=number))
        model.update(zip(target, moved, strict=True))

    def remap_error(self, model: dict[int, Page], source: range, target: range, keep: bool) -> int:
        """What Linux says of moving a range, which must be one region."""
        if keep and len(source) != len(target):
            return EINVAL
        if set(source) & set(target):
            return EINVAL
        if source[0] not in model:
            return EFAULT
        first = model[source[0]]
        for index, vpn in enumerate(source[: len(target)]):
            page = model.get(vpn)
            if page is None or not page.continues(first, index):
                return EFAULT
        return 0

    @rule(which=spaces, at=pages)
    def read(self, which: int, at: int) -> None:
        space, model = self.pick(which)
        self.compare(space, model, ARENA + at)

    @rule(which=spaces)
    def read_all(self, which: int) -> None:
        space, model = self.pick(which)
        for vpn in range(ARENA, ARENA + PAGES):
            self.compare(space, model, vpn)

    @rule(which=spaces, start=pages, length=lengths, step=st.integers(1, 3))
    def write(self, which: int, start: int, length: int, step: int) -> None:
        space, model = self.pick(which)
        for vpn in self.span(start, length)[::step]:
            self.store(space, model, vpn)

    def store(self, space: int, model: dict[int, Page], vpn: int) -> None:
        self.serial = self.serial % 250 + 1
        page = model.get(vpn)
        allowed = page is not None and page.prot & api.PROT_WRITE
        if page is not None and page.node is not None:
            allowed = allowed and page.page < self.machine.files[page.node].pages
        try:
            self.machine.write(space, vpn * PAGE, self.serial)
            assert allowed
        except Segfault:
            assert not allowed
            return
        assert page is not None
        if page.shared:
            assert page.node is not None
            file = self.machine.files[page.node]
            assert self.machine.byte(file, page.page) == self.serial
        else:
            page.own = self.serial

    @rule(which=spaces)
    @precondition(lambda self: len(self.spaces) < 4)
    def fork(self, which: int) -> None:
        space, model = self.pick(which)
        copy = {vpn: attrs.evolve(page) for vpn, page in model.items()}
        self.spaces.append((self.machine.fork(space), copy))

    @rule(which=spaces, start=pages, length=lengths)
    @precondition(lambda self: len(self.spaces) < 4)
    def fork_and_write(self, which: int, start: int, length: int) -> None:
        self.fork(which)
        self.write(which, start, length, 1)
        self.write(len(self.spaces) - 1, start, length, 2)

    @rule(which=spaces)
    @precondition(lambda self: len(self.spaces) > 1)
    def exit(self, which: int) -> None:
        space, _ = self.spaces.pop(which % len(self.spaces))
        self.machine.destroy(space)

    @rule(file=st.integers(0, 1), size=st.integers(0, FILE_PAGES))
    def truncate(self, file: int, size: int) -> None:
        shrunk = self.files[file]
        self.machine.truncate(shrunk, size)
        for _, model in self.spaces:
            for page in model.values():
                if page.node == shrunk.node and page.page >= size:
                    page.own = None

    @rule(which=spaces, file=st.integers(0, 1))
    def collect(self, which: int, file: int) -> None:
        self.machine.call(api.CollectNode(self.files[file].node))

    def compare(self, space: int, model: dict[int, Page], vpn: int) -> None:
        page = model.get(vpn)
        expected: int | None
        if page is None or not page.prot:
            expected = None
        elif page.node is None:
            expected = page.own or 0
        else:
            file = self.machine.files[page.node]
            if page.page >= file.pages:
                expected = None
            else:
                expected = self.machine.byte(file, page.page) if page.own is None else page.own
        try:
            value = self.machine.read(space, vpn * PAGE)
        except Segfault:
            assert expected is None
            return
        assert value == expected
        assert page is not None
        if page.node is not None and not page.shared and page.own is None:
            hole = page.page not in self.machine.files[page.node].frames
            page.own = 0 if hole else None  # a private hole does not see the file's filled

    @invariant()
    def holds(self) -> None:
        self.machine.check()

    def teardown(self) -> None:
        for space, model in self.spaces:
            for vpn in range(ARENA, ARENA + PAGES):
                self.compare(space, model, vpn)
            for region in self.machine.call(api.Regions(space)):
                for vpn in range(region.start >> 12, region.end >> 12):
                    assert model.pop(vpn).prot == region.prot
            assert not model
        self.machine.close()


AgainstDictionary.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None
)
TestAgainstDictionary = AgainstDictionary.TestCase

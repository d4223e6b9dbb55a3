"""Reads of streams and of everything: directions, bounds, beginnings, filters, links."""


from kurrentdbclient import NewEvent, StreamState
from kurrentdbclient.exceptions import GrpcError, NotFoundError, StreamIsDeletedError, WrongCurrentVersionError
from scenarios import category, equal, event, fill, name, numbers, proves, raises, run

ANY, NO_STREAM, EXISTS = StreamState.ANY, StreamState.NO_STREAM, StreamState.EXISTS


@proves("a stream is read both ways, with and without a limit, from every beginning")
def streams(client):
    stream = name()
    fill(client, stream, 10)
    everything = list(range(10))
    cases = [
        ({}, everything),
        ({"limit": 3}, [0, 1, 2]),
        ({"stream_position": 0}, everything),
        ({"stream_position": 4}, everything[4:]),
        ({"stream_position": 4, "limit": 2}, [4, 5]),
        ({"stream_position": 9, "limit": 9}, [9]),
        ({"stream_position": 10}, []),
        ({"stream_position": 1000}, []),
        ({"backwards": True}, everything[::-1]),
        ({"backwards": True, "limit": 3}, [9, 8, 7]),
        ({"backwards": True, "stream_position": 4}, [4, 3, 2, 1, 0]),
        ({"backwards": True, "stream_position": 4, "limit": 2}, [4, 3]),
        ({"backwards": True, "stream_position": 0}, [0]),
        ({"backwards": True, "stream_position": 1000, "limit": 2}, [9, 8]),
    ]
    for options, expected in cases:
        equal((options, numbers(client.get_stream(stream, **options))), (options, expected))


@proves("a stream longer than any page is read whole, both ways, and may be left in the middle")
def long_streams(client):
    stream = name()
    given = fill(client, stream, 12_000)
    ids = [one.id for one in given]
    equal([one.id for one in client.read_stream(stream)], ids)
    equal([one.id for one in client.read_stream(stream, backwards=True)], ids[::-1])
    with client.read_stream(stream) as half:
        equal(next(half).id, ids[0])
    equal(client.get_current_version(stream), 11_999)


@proves("a stream that never was, and one that was deleted, is not found; a tombstoned one is deleted")
def missing_streams(client):
    stream = name()
    for backwards in [False, True]:
        with raises(NotFoundError):
            client.get_stream(stream, backwards=backwards)
    fill(client, stream, 2)
    client.delete_stream(stream, current_version=1)
    for backwards in [False, True]:
        with raises(NotFoundError):
            client.get_stream(stream, backwards=backwards)
    client.tombstone_stream(stream, current_version=ANY)
    for backwards in [False, True]:
        with raises(StreamIsDeletedError):
            client.get_stream(stream, backwards=backwards)


@proves("everything is read both ways, from every beginning, without system events unless asked for")
def everything(client):
    a, b = name(), name()
    client.append_to_stream(a, current_version=ANY, events=event(number=0))
    second = client.append_to_stream(b, current_version=ANY, events=event(number=1))
    client.set_stream_metadata(a, metadata={"mine": True})
    last = client.append_to_stream(a, current_version=ANY, events=event(number=2))

    def seen(**options):
        return [one.id for one in client.read_all(**options)]

    mine = [client.get_stream(a)[0].id, client.get_stream(b)[0].id, client.get_stream(a)[1].id]
    equal(seen()[-3:], mine)
    equal(seen(backwards=True)[:3], mine[::-1])
    equal(seen(backwards=True, limit=2), mine[:0:-1])
    equal(seen(limit=1), seen()[:1])
    equal(seen(commit_position=second), mine[1:])
    equal(seen(commit_position=second, limit=1), mine[1:2])
    equal(seen(commit_position=last, backwards=True, limit=2), [mine[1], mine[0]])
    equal(client.get_commit_position(), last)
    unfiltered = list(client.read_all(filter_exclude=(), commit_position=second))
    equal([one.type for one in unfiltered], ["Lent", "$metadata", "Lent"])
    equal(unfiltered[1].stream_name, f"$${a}")
    whole = list(client.read_all(filter_exclude=()))
    equal(whole[-1].commit_position, last)
    positions = [one.commit_position for one in whole]
    equal(positions, sorted(set(positions)))


@proves("filters take types and streams, by expression and by prefix, including and excluding")
def filters(client):
    loans, users = category("loan"), category("user")
    lent, kept = f"Lent{loans}", f"Kept{loans}"
    for number, (group, kind) in enumerate([(loans, lent), (users, lent), (loans, kept), (users, kept)] * 5):
        client.append_to_stream(f"{group}-{number}", current_version=NO_STREAM, events=event(kind, number))

    def seen(**options):
        return numbers(client.read_all(**options))

    equal(seen(filter_include=[lent]), [0, 1, 4, 5, 8, 9, 12, 13, 16, 17])
    equal(seen(filter_include=[lent], limit=3), [0, 1, 4])
    equal(seen(filter_include=[lent], backwards=True, limit=3), [17, 16, 13])
    equal(len(seen(filter_include=[lent, kept])), 20)
    equal(seen(filter_include=[f"{loans}-.*"], filter_by_stream_name=True), list(range(0, 20, 2)))
    equal(seen(filter_include=[f"{loans}-", "nothing"], filter_by_stream_name=True, filter_by_prefix=True), list(range(0, 20, 2)))
    equal(seen(filter_include=[f"Lent{loans}"], filter_by_prefix=True), [0, 1, 4, 5, 8, 9, 12, 13, 16, 17])
    equal(seen(filter_exclude=[r"\$.*", f"(?!(Lent|Kept){loans}).*", kept]), [0, 1, 4, 5, 8, 9, 12, 13, 16, 17])
    equal(seen(filter_exclude=[f"(?!{users}-).*"], filter_by_stream_name=True), list(range(1, 20, 2)))


@proves("an expression that is none, and a position nobody gave, are refused")
def refused(client):
    with raises(GrpcError, "INVALID_ARGUMENT"):
        list(client.read_all(filter_include=["(unclosed"]))
    fill(client, name(), 1)
    beyond = client.get_commit_position() + 1_000_000
    with raises(GrpcError, "invalid position"):
        list(client.read_all(commit_position=beyond))


@proves("metadata of a stream is set and read, with an expected version, and bounds what is read of the stream")
def metadata(client):
    stream = name()
    equal(client.get_stream_metadata(stream), ({}, NO_STREAM))
    client.set_stream_metadata(stream, metadata={"owner": "me"}, current_version=NO_STREAM)
    equal(client.get_stream_metadata(stream), ({"owner": "me"}, 0))
    fill(client, stream, 10)
    client.set_stream_metadata(stream, metadata={"$maxCount": 3}, current_version=0)
    equal(client.get_stream_metadata(stream), ({"$maxCount": 3}, 1))
    equal(numbers(client.get_stream(stream)), [7, 8, 9])
    equal(numbers(client.get_stream(stream, backwards=True)), [9, 8, 7])
    client.set_stream_metadata(stream, metadata={"$tb": 9})
    equal(numbers(client.get_stream(stream)), [9])
    client.set_stream_metadata(stream, metadata={"$maxAge": 86_400})
    equal(len(client.get_stream(stream)), 10)


@proves("a category, a type and the list of streams are read as links, and as what they point to")
def virtual_streams(client):
    loans = category()
    kind = f"Lent{loans}"
    for number in range(6):
        client.append_to_stream(f"{loans}-{number % 2}", current_version=ANY, events=event(kind, number))
    for source in [f"$ce-{loans}", f"$et-{kind}"]:
        resolved = client.get_stream(source, resolve_links=True)
        equal(numbers(resolved), list(range(6)))
        equal([one.link.stream_position for one in resolved], list(range(6)))
        equal({one.link.stream_name for one in resolved}, {source})
        equal([one.stream_name for one in resolved[:2]], [f"{loans}-0", f"{loans}-1"])
        links = client.get_stream(source)
        equal([(one.type, one.data) for one in links[2:4]], [("$>", f"1@{loans}-0".encode()), ("$>", f"1@{loans}-1".encode())])
        equal([one.id for one in links], [one.link.id for one in resolved])
        equal(len({one.id for one in links}), 6)
        equal(numbers(client.get_stream(source, resolve_links=True, backwards=True, limit=2)), [5, 4])
        equal(numbers(client.get_stream(source, resolve_links=True, stream_position=4)), [4, 5])
        equal(numbers(client.get_stream(source, resolve_links=True, backwards=True, stream_position=1)), [1, 0])
        equal(client.get_current_version(source), 5)
    first = [one for one in client.get_stream("$streams", resolve_links=True) if one.stream_name.startswith(loans)]
    equal([one.stream_name for one in first], [f"{loans}-0", f"{loans}-1"])
    for missing in [f"$ce-{category('none')}", f"$et-{category('none')}"]:
        with raises(NotFoundError):
            client.get_stream(missing)
    # What was deleted leaves its links, which point to nothing.
    client.delete_stream(f"{loans}-1", current_version=ANY)
    equal(numbers(client.get_stream(f"$ce-{loans}", resolve_links=True)), [0, 2, 4])


@proves("indexes of categories and types are read")
def indexes(client):
    loans = category()
    kind = f"Lent{loans}"
    for number in range(4):
        client.append_to_stream(f"{loans}-{number}", current_version=ANY, events=event(kind, number))
    equal(numbers(client.read_index(f"ce-{loans}")), [0, 1, 2, 3])
    equal(numbers(client.read_index(f"et-{kind}", limit=2)), [0, 1])
    second = client.get_stream(f"{loans}-1")[0].commit_position
    equal(numbers(client.read_index(f"ce-{loans}", commit_position=second)), [1, 2, 3])
    with raises(NotFoundError):
        list(client.read_index("nothing-of-this-name"))


@proves("links that somebody wrote are resolved")
def written_links(client):
    target, links = name(), name("links")
    fill(client, target, 3)
    new = [
        NewEvent(type="$>", data=f"{revision}@{target}".encode(), content_type="application/octet-stream")
        for revision in [2, 0, 77]
    ]
    client.append_to_stream(links, current_version=NO_STREAM, events=new)
    found = client.get_stream(links, resolve_links=True)
    equal((numbers(found), [one.link.id for one in found]), ([2, 0], [one.id for one in new[:2]]))
    equal([one.type for one in client.get_stream(links)], ["$>"] * 3)


@proves("deleting says what is wrong: no such stream, another version, deleted before")
def deleting(client):
    for end in [client.delete_stream, client.tombstone_stream]:
        stream = name()
        for expected in [0, EXISTS]:
            with raises(NotFoundError):
                end(stream, current_version=expected)
        fill(client, stream, 3)
        for expected in [0, 9, NO_STREAM]:
            with raises(WrongCurrentVersionError) as caught:
                end(stream, current_version=expected)
            equal((caught.error.stream_name, caught.error.actual_version), (stream, 2))
            equal(caught.error.expected_version, expected)
        end(stream, current_version=EXISTS)
        with raises(StreamIsDeletedError):
            end(stream, current_version=EXISTS)
    with raises(StreamIsDeletedError):
        client.delete_stream(stream, current_version=ANY)
    unknown = name()
    client.tombstone_stream(unknown, current_version=ANY)
    with raises(StreamIsDeletedError):
        client.get_stream(unknown)
    other = name()
    with raises(NotFoundError):
        client.delete_stream(other, current_version=ANY)
    client.tombstone_stream(other, current_version=NO_STREAM)


@proves("metadata of a tombstoned stream is neither read nor set")
def metadata_of_a_tombstoned_stream(client):
    stream = name()
    fill(client, stream, 1)
    client.tombstone_stream(stream, current_version=0)
    with raises(StreamIsDeletedError):
        client.get_stream_metadata(stream)


run()

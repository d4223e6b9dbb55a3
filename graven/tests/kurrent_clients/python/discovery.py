"""How the client finds the server, and what the server says it has."""

from kurrentdbclient import NewEvent, StreamState
from kurrentdbclient.exceptions import FollowerNotFoundError, GrpcError
from kurrentdbclient.gossip import NODE_STATE_LEADER
from scenarios import address, connect, equal, event, name, numbers, proves, raises, run


@proves("the server is found by gossip, under the name it was asked by")
def discovery(client):
    host, port = address().split(":")
    (member,) = client.read_gossip()
    equal((member.state, member.address, member.port), (NODE_STATE_LEADER, host, int(port)))
    for scheme in ["kurrentdb+discover", "esdb+discover", "esdb", "kdb"]:
        with connect(scheme, "&NodePreference=leader") as found:
            stream = name()
            found.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=event())
            equal(numbers(found.get_stream(stream)), [0])


@proves("a follower is not found where there is none")
def no_follower(client):
    with raises(FollowerNotFoundError):
        connect("kurrentdb+discover", "&NodePreference=follower&MaxDiscoverAttempts=1")


@proves("credentials are no reason to refuse a call")
def credentials(client):
    given = client.construct_call_credentials("admin", "changeit")
    stream = name()
    client.append_to_stream(stream, current_version=StreamState.ANY, events=NewEvent(type="A", data=b"{}"), credentials=given)
    equal(len(client.get_stream(stream, credentials=given)), 1)


@proves("projections are refused in plain words")
def projections(client):
    with raises(GrpcError, "projections do not run in this server"):
        client.create_projection(name="p", query="")
    with raises(GrpcError, "projections do not run in this server"):
        client.list_all_projection_statistics()


run()

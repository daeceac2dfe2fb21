"""What both ends of a channel tell libzmq, so that a peer that vanished is noticed in time."""

import zmq

from dscsnet.pipeline.sockets.channel import Channel, attach


def test_a_peer_that_vanished_is_noticed_and_tried_again_within_seconds() -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        attach(socket, Channel("tcp://127.0.0.1:*", bind=True))
        get = socket.getsockopt
        assert (get(zmq.RECONNECT_IVL), get(zmq.RECONNECT_IVL_MAX)) == (100, 1000)
        assert get(zmq.CONNECT_TIMEOUT) == 1000
        assert get(zmq.TCP_KEEPALIVE) == 1
        silent_s = get(zmq.TCP_KEEPALIVE_IDLE)
        tries, pause_s = get(zmq.TCP_KEEPALIVE_CNT), get(zmq.TCP_KEEPALIVE_INTVL)
        assert (silent_s, tries, pause_s) == (1, 3, 1)  # 4 s in all

/*
 * Loaded before a server by "node --import": it listens on 127.0.0.1, where
 * it would on all addresses, and a connection to elsewhere is refused.
 */

import { Server, Socket } from 'node:net';


const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

const { listen } = Server.prototype;
const { connect } = Socket.prototype;


Server.prototype.listen = function (...args) {
    const options = typeof args[0] === 'object' ? args[0] : { port: args[0] };
    const callback = args.find((value) => typeof value === 'function');

    return listen.call(this, { ...options, host: '127.0.0.1' }, callback);
};


Socket.prototype.connect = function (...args) {
    // net.connect() has put them into an array

    const [first, second] = Array.isArray(args[0]) ? args[0] : args;
    const host = typeof first === 'object' ? first.host : second;

    if (!LOOPBACK.includes(host)) {
        throw new Error(`a connection to ${host} is refused`);
    }

    return connect.apply(this, args);
};

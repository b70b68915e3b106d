export { type ApiRequest, type ApiReply, type ApiServer, startApiServer } from './api-server.js';

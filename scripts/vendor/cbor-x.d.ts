export { addExtension, Encoder, Tag } from "cbor-x";

export { Encoder, Tag, addExtension } from "cbor-x";

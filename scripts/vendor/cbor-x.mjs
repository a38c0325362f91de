export { Encoder, Tag } from "cbor-x";

import { s3Store } from "../../src/store/remote/s3.ts";
import { faultSuite } from "./fault-suite.ts";

Object.assign(process.env, {
  AWS_ACCESS_KEY_ID: "test",
  AWS_SECRET_ACCESS_KEY: "test",
  AWS_REGION: "us-east-1",
});

faultSuite("signed, through the AWS SDK", s3Store);
